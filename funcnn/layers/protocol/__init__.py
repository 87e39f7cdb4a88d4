"""What a layer is, how layers call each other, and the checks that they share."""
