"""One recipe over many machines: workers on a Ray cluster, while this process keeps the books."""
