//! The model servers: started, watched, restarted and stopped as child processes, or attached to where they run already.
