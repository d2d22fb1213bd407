// Sets theme and language before the first paint. A file of its own, because the policy allows no inline script.
(() => {
  const root = document.documentElement;
  const asked = new URLSearchParams(location.search);
  const stored = (key) => {
    try {
      return localStorage.getItem(key);
    } catch {
      return null;
    }
  };
  const theme = asked.get("theme") ?? stored("greylight.theme");
  if (theme === "dark" || theme === "light") root.dataset.theme = theme;
  const lang = asked.get("lang") ?? stored("greylight.lang") ?? navigator.language;
  root.lang = /^zh/i.test(lang) ? "zh-CN" : "en";
})();
