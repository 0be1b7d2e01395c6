"""From a `.dcz` file: to models (`decompress`), arrays (`tensors`), figures (`inspect`), a verdict (`check`)."""
