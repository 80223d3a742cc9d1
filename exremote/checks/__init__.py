"""The judgments: each looks at facts and returns findings. None asks a host, and none has a clock."""
