"""Who a caller is and what they may do. Owns the rows of people, tenants, memberships and tokens."""
