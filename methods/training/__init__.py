"""What unlearning methods share: token states, closed-form edits, latents, masks, objectives."""
