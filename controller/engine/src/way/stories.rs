//! Doors and grants on a small fleet.
