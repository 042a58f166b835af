/* Runs before the first paint, hence no module: a page that flashes white in a dark gallery is not forgiven. */
try {
  const theme = localStorage.getItem('anchor.theme');
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
} catch {
  /* Storage is blocked: the system's scheme it is. */
}
