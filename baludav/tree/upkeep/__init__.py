"""What happens by itself: one worker keeps the installation, old things expire, crashes are cleaned up after."""
