"""What is kept in Flink's keyed state: descriptors, codecs and format versions."""
