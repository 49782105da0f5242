package egan.sample

import org.json.JSONObject

/** One image of the golden folder with the answer that Python got for it. */
data class GoldenImage(val file: String, val score: Float, val isMinority: Boolean)

/** What `egan.json` says about the model beside it; unknown keys are ignored. */
data class Contract(
    val modelFile: String,
    val sha256: String,
    val inputName: String,
    val dtype: String,
    val height: Int,
    val width: Int,
    val majority: List<String>,
    val minority: List<String>,
    val tolerance: Float,
    val golden: List<GoldenImage>,
) {
    companion object {
        /** Reads the JSON's text. Throws if it is no contract of version 1. */
        fun parse(text: String): Contract {
            val root = JSONObject(text)
            val format = root.optString("format")
            val version = root.optInt("format_version")
            require(format == "egan-keras" && version == 1) {
                "The JSON is not this sample's contract: expected format egan-keras, " +
                    "format_version 1. Received: format=$format, format_version=$version. " +
                    "Take the JSON that was exported with the model."
            }
            val input = root.getJSONObject("input")
            val dtype = input.getString("dtype")
            require(dtype == "uint8" || dtype == "float32") {
                "The model's input type must be uint8 or float32. Received: dtype=$dtype"
            }
            val shape = input.getJSONArray("shape")
            val classes = root.getJSONObject("classes")
            val golden = root.getJSONObject("golden")
            return Contract(
                modelFile = root.getJSONObject("file").getString("name"),
                sha256 = root.getJSONObject("file").getString("sha256"),
                inputName = input.getString("name"),
                dtype = dtype,
                height = shape.getInt(1),
                width = shape.getInt(2),
                majority = strings(classes, "majority"),
                minority = strings(classes, "minority"),
                tolerance = golden.getDouble("tolerance").toFloat(),
                golden = goldenImages(golden),
            )
        }

        private fun strings(parent: JSONObject, key: String): List<String> {
            val array = parent.getJSONArray(key)
            return List(array.length()) { array.getString(it) }
        }

        private fun goldenImages(golden: JSONObject): List<GoldenImage> {
            val images = golden.getJSONArray("images")
            return List(images.length()) {
                val image = images.getJSONObject(it)
                GoldenImage(
                    file = image.getString("file"),
                    score = image.getDouble("score").toFloat(),
                    isMinority = image.getInt("is_minority") == 1,
                )
            }
        }
    }
}
