"""The only rooms of the installer that open sockets; targets and balancers use them."""
