"""What happens to one frame, and how results add up."""
