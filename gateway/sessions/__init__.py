"""Connected clients: what each selected and said, and how it resumes."""
