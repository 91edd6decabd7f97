"""What a soak is made of: clients of all kinds that know what they wrote, trouble for the server, and gauges on it."""
