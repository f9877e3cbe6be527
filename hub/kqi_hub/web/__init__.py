"""The HTTP service: application, errors, sign-in, paging and routes that declare their permission."""
