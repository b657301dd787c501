"""Reports: content, rendering and charts."""
