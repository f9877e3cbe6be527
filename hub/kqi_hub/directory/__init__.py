"""Who a person is, according to the directory in use: local accounts, later LDAP."""
