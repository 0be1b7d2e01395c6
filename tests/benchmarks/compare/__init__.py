"""dcz beside other ways to make a network smaller: bytes, answers, run time, load time, and whether the file runs."""
