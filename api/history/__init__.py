"""Conversation history: pages, single messages, unread counts and what was held."""
