"""The native engine: C++ that is built on first use, opened through ctypes, and wrapped as torch functions."""
