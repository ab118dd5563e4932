"""What is inside checkpoints, graphs and networks, told and edited."""
