"""Diffraction with known truth, and a beamline that sends it; for the demo and for tests."""
