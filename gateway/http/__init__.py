"""The HTTP server: access middleware, operations endpoints, avatars."""
