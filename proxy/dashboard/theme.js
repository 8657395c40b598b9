// Before the first paint: light or dark, as was chosen here, or else as the system says. Other modules ask `window.ropewayTheme`.
'use strict';
{
  const KEY = 'ropeway.theme';
  const system = matchMedia('(prefers-color-scheme: dark)');

  function chosen() {
    const kept = localStorage.getItem(KEY);
    return kept === 'light' || kept === 'dark' ? kept : 'auto';
  }

  function apply() {
    const choice = chosen();
    const dark = choice === 'dark' || (choice === 'auto' && system.matches);
    document.documentElement.dataset.theme = dark ? 'dark' : 'light';
  }

  function choose(choice) {
    if (choice === 'auto') localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, choice);
    apply();
  }

  system.addEventListener('change', apply);
  apply();
  window.ropewayTheme = { chosen, choose };
}
