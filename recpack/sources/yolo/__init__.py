"""YOLO folders."""
