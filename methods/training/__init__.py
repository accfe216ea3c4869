"""Parts that several methods share: token states, closed-form edits, latents, masks, objectives."""
