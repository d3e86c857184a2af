"""Training jobs: specs, run directories, the command line and submission. Imports distnn and cluster."""
