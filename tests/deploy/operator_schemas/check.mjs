// Checks objects of the Prometheus Operator in two ways: values by its schemas, and unknown fields,
// which those let pass, by its types. Reads a JSON list, and prints a line for each problem.
import { readFileSync, writeFileSync } from "node:fs";
import { PrometheusRule } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PrometheusRule";
import { ServiceMonitor } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/ServiceMonitor";
import ts from "typescript";

const [source] = process.argv.slice(2);
const kinds = { PrometheusRule, ServiceMonitor };
const objects = JSON.parse(readFileSync(0, "utf-8"));

for (const object of objects) {
  try {
    new kinds[object.kind](object).validate();
  } catch (error) {
    console.log(error.message);
  }
}

const folder = "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1";
const lines = objects.map(
  (object, number) =>
    `import type { I${object.kind} as T${number} } from "${folder}/${object.kind}";\n` +
    `export const o${number}: T${number} = ${JSON.stringify(object)};\n`,
);
writeFileSync(source, lines.join(""));
const program = ts.createProgram([source], {
  module: ts.ModuleKind.NodeNext,
  moduleResolution: ts.ModuleResolutionKind.NodeNext,
  noEmit: true,
  skipLibCheck: true,
  strict: true,
});
for (const { messageText } of ts.getPreEmitDiagnostics(program)) {
  console.log(ts.flattenDiagnosticMessageText(messageText, " "));
}
