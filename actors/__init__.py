"""The concurrent part: the actor runtime on Pykka and the actors. The only room that uses both store and gateways."""
