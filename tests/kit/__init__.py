"""What tests are made with: events that go in, worlds that they go into, servers to run against."""
