"""The public JSON API: v1 as documented, v2, and the OpenAPI document generated from the same Structs."""
