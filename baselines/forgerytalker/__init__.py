"""ForgeryTalker: localizes and explains a forged face at once (arXiv 2412.19685), with the release's defects mended."""
