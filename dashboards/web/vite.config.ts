import { defineConfig } from "vite";

// File names carry no hash: the output is committed, and a rename for every change would drown its history.
// Freshness comes from the strong ETag with which the binary serves each file.
export default defineConfig({
  base: "./",
  build: {
    outDir: "../dist",
    emptyOutDir: true,
    target: "es2022",
    modulePreload: { polyfill: false },
    license: { fileName: "licences.md" },
    rolldownOptions: {
      output: {
        entryFileNames: "assets/[name].js",
        chunkFileNames: "assets/[name].js",
        assetFileNames: "assets/[name][extname]",
        codeSplitting: {
          groups: [
            { name: "vendor-uplot", test: /node_modules\/uplot/ },
            { name: "vendor-preact", test: /node_modules\/(preact|@preact)/ },
          ],
        },
      },
    },
  },
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  server: {
    proxy: { "/api": process.env.GREYLIGHT_URL ?? "http://127.0.0.1:4680" },
  },
});
