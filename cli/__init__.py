"""The commands of an operator, one module each: ``add_arguments(parser)`` and ``run(arguments)``, its exit status."""
