"""What people write instead of the right derivative, and how a wrong gradient is told to be it."""
