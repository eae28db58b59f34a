"""Guards of the network: allowed hosts, public addresses, limited transports."""
