"""A directory that speaks LDAP: OpenLDAP, 389 Directory Server, Active Directory."""

# What an administrator says to it, as to the class of jupyterhub-ldapauthenticator.
SECTION = "LDAPAuthenticator"
