"""The actor runtime: Pykka actors on mailboxes that a dispatcher runs, on threads or deterministically."""
