"""What `import connector_bench` offers: measuring from Python, without the harness and with the tasks' figures."""
