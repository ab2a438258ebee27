// docs/openapi.json is a right OpenAPI 3.1 document: node document.mjs FILE
import { Validator } from "@seriousme/openapi-schema-validator";

const validator = new Validator();
const result = await validator.validate(process.argv[2]);
if (!result.valid) {
  console.error(JSON.stringify(result.errors, null, 1));
  process.exit(1);
}
if (validator.version !== "3.1") throw new Error(`version ${validator.version}`);
validator.resolveRefs();
console.log(`${process.argv[2]}: valid OpenAPI ${validator.version}`);
