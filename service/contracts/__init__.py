"""What readers of events rely on, as documents: JSON Schemas, AsyncAPI, and what may never change in them."""
