"""The actor runtime: Pykka actors on mailboxes that a dispatcher runs, live on threads or deterministically."""
