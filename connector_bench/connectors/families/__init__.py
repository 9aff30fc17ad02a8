"""One small file a family: where its connector is and how its tokens lie in the image."""
