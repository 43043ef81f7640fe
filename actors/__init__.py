"""The concurrent part: the actor runtime on Pykka and the actors. The only room that knows both store and gateways."""
