"""What the assets reach the world through: survey files, the warehouse, releases, the device."""
