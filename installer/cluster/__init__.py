"""What goes to a Kubernetes cluster, by `kubectl`."""
