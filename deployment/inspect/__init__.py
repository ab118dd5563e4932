"""Reports on what checkpoints, graphs and networks contain."""
