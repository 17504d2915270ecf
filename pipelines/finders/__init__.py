"""Face finders: one seam (`mmtt.faces.FaceFinder`), a file for each way to find faces."""
