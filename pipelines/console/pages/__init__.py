"""The console's pages: one module with one blueprint each; `pipelines.console.app.PAGES` lists them."""
